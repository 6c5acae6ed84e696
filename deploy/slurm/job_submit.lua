--[[ job_submit.lua of slurm.conf (JobSubmitPlugins=lua): each job asks for the power that it takes, as a licence.

What it does is in skerry_power.lua, in the same directory, with its settings in skerry_power.conf. A site that has a
job_submit.lua of its own adds the lines below to it: one to load, and one in each function.

A job is never refused, and never changed by half: what goes wrong is one line in the log of slurmctld. ]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "/etc/slurm/"
local loaded, power = pcall(dofile, here .. "skerry_power.lua")
if not loaded then
	slurm.log_error("%s", "skerry: jobs ask for no power: " .. tostring(power))
	power = nil
end

function slurm_job_submit(job_desc, part_list, submit_uid)
	if power then power.submit(job_desc, part_list) end
	return slurm.SUCCESS
end

function slurm_job_modify(job_desc, job_rec, part_list, modify_uid)
	if power then power.modify(job_desc, job_rec, part_list, modify_uid) end
	return slurm.SUCCESS
end

return slurm.SUCCESS
