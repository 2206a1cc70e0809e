-- Refuse a stream that has ended or does not exist.
if stream.status == 'ended' then
  return {'sealed', redis.call('HGET', state, 'outcome'), stream.epoch, stream.owner}
end
--- include absent
