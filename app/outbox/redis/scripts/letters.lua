-- What is kept of events: {number...}. Answers event and body of each, empty where it is gone.
local answer = {}
for _, seq in ipairs(input) do
  answer[#answer + 1] = redis.call('GET', EVENT .. seq) or ''
  answer[#answer + 1] = redis.call('GET', BODY .. seq) or ''
end
return answer
