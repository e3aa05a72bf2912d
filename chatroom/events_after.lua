-- The events after a cursor, and what is needed to tell whether some before them are lost.
-- KEYS events
-- ARGV cursor, how many
-- Returns the first kept and the last given cursor, the number of events trimmed, the entries.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'0-0', '0-0', 0, {}}
end
local info = {}
local flat = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #flat, 2 do
  info[flat[i]] = flat[i + 1]
end
local first = info['first-entry'] and info['first-entry'][1] or info['last-generated-id']
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
return {first, info['last-generated-id'], info['entries-added'] - info['length'], entries}
