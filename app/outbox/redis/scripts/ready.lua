-- When what is ready for a destination became so: {dest, how many}. Answers the instants, the oldest first.
local _, scores = first_ready(input[1], input[2])
return scores
