-- The newest captions, oldest first, their bus messages one after the other in one string: a
-- client in Python reads one long answer far quicker than many short ones.
-- KEYS captions, caption-order
-- ARGV how many
local utterances = redis.call('ZRANGE', KEYS[2], -tonumber(ARGV[1]), -1)
if #utterances == 0 then
  return ''
end
local kept = redis.call('HMGET', KEYS[1], unpack(utterances))
local messages = {}
for i = 1, #kept do
  if kept[i] then
    messages[#messages + 1] = string.match(kept[i], '^%d+ (.*)$')
  end
end
return table.concat(messages)
