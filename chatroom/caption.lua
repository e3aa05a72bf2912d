-- Post a caption: a partial is published only; a final is kept as the newest revision of its
-- utterance, stored as an event and published. Nothing older than what is kept gets through.
-- KEYS state, events, captions, caption-order, live channel, lease
-- ARGV lease token or '', utterance, revision, start in ms, '1' for final, captions to keep,
--      events to keep, body
-- Returns {'gone'}, {'lease'}, {'stale'}, {'live'} or {'stored', cursor}.
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  return {'gone'}
end
if ARGV[1] ~= '' and redis.call('GET', KEYS[6]) ~= ARGV[1] then
  return {'lease'}
end
local kept = redis.call('HGET', KEYS[3], ARGV[2])
if kept and tonumber(string.match(kept, '^%d+')) >= tonumber(ARGV[3]) then
  return {'stale'}
end
if ARGV[5] ~= '1' then
  if kept then
    return {'stale'}
  end
  redis.call('SPUBLISH', KEYS[5], '\147' .. ARGV[8])
  return {'live'}
end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3] .. ' \147' .. ARGV[8])
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[2])
local excess = redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[6])
if excess > 0 then
  for _, old in ipairs(redis.call('ZRANGE', KEYS[4], 0, excess - 1)) do
    redis.call('HDEL', KEYS[3], old)
    redis.call('ZREM', KEYS[4], old)
  end
end
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[7], '*', 'e', '\147' .. ARGV[8])
redis.call('SPUBLISH', KEYS[5], '\148' .. ARGV[8] .. '\217' .. string.char(#id) .. id)
for i = 2, 4 do
  redis.call('PEXPIRE', KEYS[i], left)
end
return {'stored', id}
