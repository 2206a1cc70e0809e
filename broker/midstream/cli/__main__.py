from midstream.cli.main import main

main()
