-- Answer if the server would take what makes a log grow: a script without `allow-oom` is refused where that would be.
return {'ok'}
