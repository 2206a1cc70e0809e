-- Create a stream, or find it.
--- include clock
--- include creation
local answer, active = standing()
return answer or creation(active)
