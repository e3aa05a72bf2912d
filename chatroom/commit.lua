-- Replace a room's state if nobody else has, store and publish what happened: one step.
-- KEYS state, events, captions, caption-order, live channel, media channel
-- ARGV expected version (0: the room must not exist), room, why it is over or '', ttl of the
--      keys in ms, events to keep, number of events, their bodies..., notes for the media channel...
-- Returns false where the version is another now, else the new version and the events' cursors.
local version = tonumber(redis.call('HGET', KEYS[1], 'v') or '0')
if version ~= tonumber(ARGV[1]) then
  return false
end
redis.call('HSET', KEYS[1], 'v', version + 1, 'd', ARGV[2], 'over', ARGV[3], 'ttl', ARGV[4])
local answer = {version + 1}
local count = tonumber(ARGV[6])
for i = 7, 6 + count do
  local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'e', '\147' .. ARGV[i])
  redis.call('SPUBLISH', KEYS[5], '\148' .. ARGV[i] .. '\217' .. string.char(#id) .. id)
  answer[#answer + 1] = id
end
for i = 7 + count, #ARGV do
  redis.call('SPUBLISH', KEYS[6], ARGV[i])
end
for i = 1, 4 do
  redis.call('PEXPIRE', KEYS[i], ARGV[4])
end
return answer
