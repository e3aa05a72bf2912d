-- Say how many listen on a node and what they read; a room where somebody is does not expire.
-- KEYS presence, state, events, captions, caption-order
-- ARGV node, listeners ('' where nobody is there any more), languages joined by commas, how long
--      this holds in ms
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return
end
local time = redis.call('TIME')
local till = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[4]
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', till) .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
local state = redis.call('HMGET', KEYS[2], 'over', 'ttl')
if state[1] == '' then
  for i = 2, 5 do
    redis.call('PEXPIRE', KEYS[i], state[2])
  end
end
