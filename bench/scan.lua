-- Scan as phones do: the page, and then the picture on it. A scan is done when its picture has come.
dofile((string.gsub(string.sub(debug.getinfo(1, 'S').source, 2), 'scan%.lua$', 'wrk.lua')))

scans = 0
local pictures, first, last = {}, 1, 0
local threads = {}

setup = function(thread)
  threads[#threads + 1] = thread
end

-- Any connection may fetch a picture: phones do not say on which one they do.
request = function()
  if first > last then return wrk.format('GET') end
  local path = pictures[first]
  pictures[first] = nil
  first = first + 1
  return wrk.format('GET', path)
end

response = function(_, headers, body)
  if string.sub(body, 2, 4) == 'PNG' then
    if headers['x-huoma-outcome'] == 'claimed' then scans = scans + 1 end
  else
    last = last + 1
    pictures[last] = string.match(body, '<img[^>]+src="([^"]+)"')
  end
end

finished = function()
  local sum = 0
  for i = 1, #threads do sum = sum + threads[i]:get('scans') end
  return sum
end
