-- May this tenant, its user and its key start one more stream? (PROTOCOL: Limits/Starts, Limits/Generations,
-- Limits/Stored)
--- include clock
local owners_last = #owners
--- include admission
return admission()
