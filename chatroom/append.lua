-- Store an event in a room's stream and publish it with its cursor: one step.
-- KEYS state, events, live channel
-- ARGV events to keep, body
-- Returns the cursor, or false where the room is gone.
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  return false
end
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'e', '\147' .. ARGV[2])
redis.call('SPUBLISH', KEYS[3], '\148' .. ARGV[2] .. '\217' .. string.char(#id) .. id)
redis.call('PEXPIRE', KEYS[2], left)
return id
