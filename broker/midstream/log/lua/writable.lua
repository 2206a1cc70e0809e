-- Answer whether a log may grow: this script is without `allow-oom`, so a server that is out of memory refuses it.
return {'ok'}
