-- Create a stream, or find it.
--- include clock
--- include creation
return creation()
