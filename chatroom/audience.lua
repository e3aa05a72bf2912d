-- How many listen on all nodes that said so lately, and what they read.
-- KEYS presence
-- Returns the sum and the nodes' languages, each joined by commas.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local nodes = redis.call('HGETALL', KEYS[1])
local sum, languages = 0, {}
for i = 2, #nodes, 2 do
  local till, listeners, reads = string.match(nodes[i], '^(%d+) (%d+) (.*)$')
  if tonumber(till) > now then
    sum = sum + tonumber(listeners)
    languages[#languages + 1] = reads
  end
end
return {sum, languages}
