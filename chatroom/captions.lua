-- The newest captions, oldest first.
-- KEYS captions, caption-order
-- ARGV how many
local utterances = redis.call('ZRANGE', KEYS[2], -tonumber(ARGV[1]), -1)
if #utterances == 0 then
  return {}
end
return redis.call('HMGET', KEYS[1], unpack(utterances))
