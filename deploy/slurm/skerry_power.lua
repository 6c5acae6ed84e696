--[[ Adds the power of a job, as a number of licences of 100 W each, to what it asks for. Used by job_submit.lua.

The power is what the job draws above its idle nodes: that of its GPUs, and of its share of the nodes' CPUs, memory and
fans. A job that takes whole nodes has all of theirs. Settings: skerry_power.conf beside this file, lines NAME=value, read
at each job, so that a change holds at once. Values learnt: skerry_learnt.conf, where there is one.

Fields of job_desc, job_rec and part_list, and what of them is missing in job_rec (num_tasks, cpus_per_task, shared):
src/plugins/job_submit/lua/job_submit_lua.c and src/lua/slurm_lua.c of github.com/SchedMD/slurm, commit
d525b6872a106d32916b33a8738f12510ec7cf04 (22.05.8). A field of text that is not set is nil, one that is a number has one
of the values NO_VAL. Licences are "NAME:COUNT,..." (_build_license_list of src/slurmctld/licenses.c, same commit). ]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "/etc/slurm/"
local W_PER_LICENCE = 100
local SHAPE = {"tres_per_job", "tres_per_node", "tres_per_socket", "tres_per_task", "cpus_per_tres", "req_nodes",
	"partition"} -- texts of a request
local COUNTS = {"min_nodes", "max_nodes", "num_tasks", "ntasks_per_node", "cpus_per_task", "min_cpus", "pn_min_cpus",
	"shared"}
local REQUIRED = {"total", "gpu_w", "host_w", "gpus_per_node"}
local RUNNING, PENDING = 1, 0 -- enum job_states of slurm.h

-- A number of a job, nil where the job does not say.
local function count(value)
	if type(value) ~= "number" or value == slurm.NO_VAL or value == slurm.NO_VAL16 or value == slurm.NO_VAL64 then
		return nil
	end
	return value >= 0 and value or nil
end

-- The same, nil for 0, too.
local function positive(value)
	local number = count(value)
	return number and number > 0 and number or nil
end

local function settings()
	local path, found = here .. "skerry_power.conf", {license = "skerry_kw10"}
	local file, why = io.open(path, "r")
	if not file then error(why, 0) end
	local number = 0
	for line in file:lines() do
		number = number + 1
		if line:match("%S") and not line:match("^%s*#") then
			local name, value = line:match("^%s*([%w_./-]+)%s*=%s*(.-)%s*$")
			if name ~= "license" then value = tonumber(value) end
			if name == "license" and not value:match("^%a[%w_-]*$") then value = nil end -- Slurm would refuse all jobs
			if not name or not value or (name ~= "license" and not (value >= 0 and value < 1e9)) then
				file:close()
				local expected = name == "license" and "license=NAME, without quotes" or "NAME=number"
				error(path .. ":" .. number .. ": expected " .. expected .. ", found: " .. line, 0)
			end
			found[name] = value
		end
	end
	file:close()
	for _, name in ipairs(REQUIRED) do
		if not found[name] then error(path .. ": " .. name .. "= is missing", 0) end
	end
	return found
end

-- What a job of this user, name and number of GPUs has drawn, W; nil: not learnt. Without GPUs its size is not known by
-- these, and of parts of GPUs nothing is written down.
local function learnt(user, name, gpus)
	if gpus < 1 or gpus % 1 ~= 0 then return nil end
	local file = io.open(here .. "skerry_learnt.conf", "r")
	if not file then return nil end
	local wanted = string.format("%s %d ", user or "", gpus)
	local found
	for line in file:lines() do -- USER GPUS WATTS NAME; the name comes last, as it may hold anything
		if line:sub(1, #wanted) == wanted then
			local watts, its_name = line:sub(#wanted + 1):match("^([%d.]+) (.*)$")
			if watts and its_name == name then found = tonumber(watts) end
		end
	end
	file:close()
	return found
end

-- GPUs of "gres:gpu:a100:2,gres/gpu", by type; "" where none is named. Parts of GPUs count as parts.
local function gpus_in(text, set)
	local found = {}
	for part in (text or ""):gmatch("[^,]+") do
		local words = {}
		for word in part:gsub("^%s*gres[:/]", ""):gmatch("[^:=%s]+") do words[#words + 1] = word end
		local kind, number = words[1], #words > 1 and tonumber(words[#words]) or nil
		local type_of = words[2] and not (number and #words == 2) and words[2] or ""
		number = number or 1
		if kind == "mps" then number = number / 100 end -- 100 are a GPU, unless gres.conf says otherwise
		if kind == "shard" then number = number / (set.shards_per_gpu or 1) end
		if kind == "gpu" or kind == "mps" or kind == "shard" then
			found[type_of] = (found[type_of] or 0) + number
		end
	end
	return found
end

-- How many nodes a list such as "gpu[1-4,7],login" names.
local function nodes_in(text)
	local found = 0
	for item in (text or ""):gsub("%b[]", function(list) return (list:gsub(",", ";")) end):gmatch("[^,%s]+") do
		local number = 1
		for list in item:gmatch("%[(.-)%]") do
			local of_list = 0
			for first, last in list:gmatch("(%d+)%-?(%d*)") do
				of_list = of_list + 1 + math.max(0, (tonumber(last) or tonumber(first)) - tonumber(first))
			end
			number = number * of_list
		end
		found = found + number
	end
	return found
end

-- A setting, of the partition where it has one of its own.
local function of(set, partition, name)
	return set[partition .. "/" .. name] or set[name]
end

local function gpu_w(set, partition, type_of)
	return set[partition .. "/gpu_w." .. type_of] or set["gpu_w." .. type_of] or of(set, partition, "gpu_w")
end

-- (GPUs, their power) of a job on so many nodes with so many tasks: of the ways to ask for GPUs, the one for most.
local function gpus(job, partition, nodes, tasks, set)
	local most, most_w = 0, 0
	local ways = {
		{job.tres_per_job, 1},
		{job.tres_per_node, nodes},
		{job.tres_per_socket, nodes * (positive(job.sockets_per_node) or 1)},
		{job.tres_per_task, tasks},
	}
	for _, way in ipairs(ways) do
		local number, watts = 0, 0
		for type_of, each in pairs(gpus_in(way[1], set)) do
			number = number + each * way[2]
			watts = watts + each * way[2] * gpu_w(set, partition, type_of)
		end
		most, most_w = math.max(most, number), math.max(most_w, watts)
	end
	local per_gpu = positive(job.ntasks_per_tres)
	if most == 0 and per_gpu then
		most = math.ceil(tasks / per_gpu)
		most_w = most * gpu_w(set, partition, "")
	end
	return most, most_w
end

-- The power of a job in one partition, W.
local function power_in(job, name, partition, set)
	local tasks = positive(job.num_tasks)
	local per_node = positive(job.ntasks_per_node)
	local nodes = math.max(positive(job.min_nodes) or 1, positive(job.max_nodes) or 1, nodes_in(job.req_nodes))
	if tasks and per_node then nodes = math.max(nodes, math.ceil(tasks / per_node)) end
	tasks = tasks or nodes * (per_node or 1)
	local cpus = math.max(positive(job.min_cpus) or 1, tasks * (positive(job.cpus_per_task) or 1),
		nodes * (positive(job.pn_min_cpus) or 1))
	local in_node, cpus_in_node = of(set, name, "gpus_per_node"), of(set, name, "cpus_per_node")
	if not cpus_in_node and partition and positive(partition.total_nodes) then
		cpus_in_node = positive(partition.total_cpus) and partition.total_cpus / partition.total_nodes
	end
	if cpus_in_node and cpus_in_node > 0 then nodes = math.max(nodes, math.ceil(cpus / cpus_in_node)) end
	local number, watts = gpus(job, name, nodes, tasks, set)
	cpus = math.max(cpus, number * (gpus_in(job.cpus_per_tres, set)[""] or 0))
	if job.shared == 0 or (partition and partition.max_share == 0) then
		if in_node > 0 and number > 0 then nodes = math.max(nodes, math.ceil(number / in_node)) end
		watts = math.max(watts, nodes * in_node * gpu_w(set, name, ""))
		return watts + nodes * of(set, name, "host_w"), number
	end
	local share = cpus_in_node and cpus_in_node > 0 and cpus / cpus_in_node or (number > 0 and 0 or nodes)
	if in_node > 0 then share = math.max(share, number / in_node) end
	return watts + share * of(set, name, "host_w"), number
end

-- The partitions that a job may run in, by name.
local function partitions(job, part_list)
	local found = {}
	for name in (job.partition or ""):gmatch("[^,%s]+") do found[name] = (part_list or {})[name] or false end
	if next(found) then return found end
	for name, partition in pairs(part_list or {}) do
		if partition.flag_default == 1 then return {[name] = partition} end
	end
	return {[""] = false}
end

-- How many licences a job takes: in that of its partitions where it draws most.
local function licences(job, part_list, set)
	local most_w, most = 0, 0
	for name, partition in pairs(partitions(job, part_list)) do
		local watts, number = power_in(job, name, partition or nil, set)
		most_w, most = math.max(most_w, watts), math.max(most, number)
	end
	most_w = learnt(job.user_name, job.name, most) or most_w
	return math.min(math.ceil(most_w / W_PER_LICENCE - 1e-6), math.floor(set.total))
end

-- (what is asked for besides ours, how many of ours; nil: none is named)
local function apart(text, license)
	local kept, ours = {}, nil
	if (text or ""):find("|", 1, true) then error("licences by choice (|) cannot be added to: " .. text, 0) end
	for part in (text or ""):gmatch("[^,;]+") do
		if part:match("^%s*([^:=@%s]*)") == license then
			ours = (ours or 0) + (tonumber(part:match("[:=]%s*(%d+)%s*$")) or 1)
		else
			kept[#kept + 1] = part
		end
	end
	return kept, ours
end

local function joined(kept, license, number)
	if number > 0 then kept[#kept + 1] = string.format("%s:%d", license, number) end
	return table.concat(kept, ",")
end

local function submit(job_desc, part_list)
	local set = settings()
	local kept, asked = apart(job_desc.licenses, set.license)
	local number = licences(job_desc, part_list, set)
	if asked and asked ~= number then
		slurm.log_info("%s", string.format("skerry: user %s asked for %s:%d, the job takes %d",
			tostring(job_desc.user_name or job_desc.user_id), set.license, asked, number))
	end
	job_desc.licenses = joined(kept, set.license, number)
end

-- The request as it would be once it is changed; what a record does not have stays nil.
local function changed(job_desc, job_rec)
	local job, differs = {user_name = job_rec.user_name, name = job_desc.name or job_rec.name}, false
	for _, field in ipairs(SHAPE) do
		differs = differs or job_desc[field] ~= nil
		job[field] = job_desc[field] or job_rec[field]
	end
	for _, field in ipairs(COUNTS) do
		local value = count(job_desc[field])
		differs = differs or value ~= nil
		job[field] = value or count(job_rec[field])
	end
	return job, differs
end

--[[ A change never takes power from a job: the record lacks what is needed to reckon anew, and who may change a job
could else run it without. Root may, by naming the licence. ]]
local function modify(job_desc, job_rec, part_list, uid)
	if uid == 0 and job_desc.licenses ~= nil then return end
	local pending = job_rec.job_state % 256 == PENDING
	if not pending and (job_rec.job_state % 256 ~= RUNNING or job_desc.licenses == nil) then return end
	local set = settings()
	local was, number = apart(job_rec.licenses, set.license)
	number = number or 0
	local job, differs = changed(job_desc, job_rec)
	if pending and differs then number = math.max(number, licences(job, part_list, set)) end
	local kept = job_desc.licenses ~= nil and apart(job_desc.licenses, set.license) or was
	local wanted = joined(kept, set.license, number)
	if wanted ~= (job_desc.licenses or job_rec.licenses or "") then job_desc.licenses = wanted end
end

-- Whatever goes wrong, the job stays as it was asked for.
local function guarded(what, change)
	return function(...)
		local done, why = pcall(change, ...)
		if not done then slurm.log_error("%s", "skerry: a job is " .. what .. " without its power: " .. tostring(why)) end
	end
end

return {submit = guarded("submitted", submit), modify = guarded("changed", modify)}
