-- Refuse a stream of a format that this process does not know (PROTOCOL: State/Format). The number is `FORMAT`'s.
if format and tonumber(format) > 1 then return {'newer', format} end
