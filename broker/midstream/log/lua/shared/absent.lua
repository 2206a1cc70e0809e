-- Refuse a stream that does not exist.
if not stream.status or stream.status == 'deleted' then return {'absent'} end
