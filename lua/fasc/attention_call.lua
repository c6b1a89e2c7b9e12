-- attention_call.lua - from a Lua call of attention to fasc_attention_args: the options, the
-- outputs with their shapes and dtypes, and the call object that runs, plans, or is timed.
local fasc_ffi = require "fasc.ffi"
local compile_reports = require "fasc.compile_report"
local dtypes = require "fasc.dtype"
local errors = require "fasc.errors"
local kernels = require "fasc.kernels"
local memory = require "fasc.memory"
local options = require "fasc.options"
local plans = require "fasc.plan"
local random = require "fasc.random"
local shapes = require "fasc.shape"
local tensors = require "fasc.tensor"
local tuned = require "fasc.tuned"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

-- ---- options ------------------------------------------------------------------------------

---@class fasc.AttentionOptions
---@field causal boolean|string|nil true or "bottom_right": query i sees key j iff
---       j <= i + (Nk - Nq); "top_left": iff j <= i
---@field align string?      "bottom_right" (the default) or "top_left": where a window without
---       causal lies
---@field window number[]?   {left, right}: query i at i' sees i' - left <= j <= i' + right; nil or
---       -1 on a side: no limit
---@field sm_scale number?   default 1/sqrt(D)
---@field attn_mask fasc.Tensor? broadcastable to (B, Hq, Nq, Nk): u8 (0 = hidden), or floating,
---       added to the scaled scores
---@field kernel string|fasc.KernelConfig|nil default: the best that can
---@field want string[]|string|nil what to compute; default {"out"}, or the names in outputs
---@field outputs table<string, fasc.Tensor>? tensors to write to instead of new ones
---@field query_range number[]? {first, past the last}: the queries that col_* and diag_* cover,
---       as t:slice takes it: {-64} are the last 64
---@field key_range number[]?   the keys that col_*, diag_* and row_sum cover
---@field per string?           "head" (the default) or "kv_head": col_* added up (col_max_probs:
---       its maximum) over the query heads of a key head
---@field topk number?          k of topk_values and topk_indices, 1 to 64
---@field tile number?          edge of the tiles of pooled_max and pooled_mass
---@field dropout_p number?     0 <= p < 1; out alone feels it
---@field seed number?          of dropout; without seed and offset each call draws its own
---@field offset number?        an independent mask of the same seed, default 0
---@field splits number?        parts that the keys are split into, worked on side by side; 1 is
---       none; default: the library's choice
---@field out_dtype string?    of a new out: q's (the default) or "f32"
---@field scores_dtype string? of new logits, masked, probs: q's (the default) or "f32"

local ALIGN = {"bottom_right", "top_left"}

--- The options of every call of attention; callers may leave some out.
M.OPTIONS = {
    causal = {is = "boolean|string", values = ALIGN, default = false},
    align = {is = "string", values = ALIGN},
    window = {is = "table"},
    sm_scale = {is = "number"},
    attn_mask = {is = "tensor"},
    kernel = {is = "string|table"},
    want = {is = "table|string"},
    outputs = {is = "table"},
    query_range = {is = "table"},
    key_range = {is = "table"},
    per = {is = "string", values = {"head", "kv_head"}},
    topk = {is = "integer", min = 1, max = 64},
    tile = {is = "integer", min = 1, max = 2^31 - 1},
    dropout_p = {is = "number"},
    seed = {is = "integer", min = 0},
    offset = {is = "integer", min = 0, max = 2^32 - 1},
    splits = {is = "integer", min = 1, max = 2^31 - 1},
    out_dtype = {is = "string"},
    scores_dtype = {is = "string"},
}

-- ---- outputs ------------------------------------------------------------------------------

local function like_out(q)
    return {q.shape[1], q.shape[2], q.shape[3], q.shape[4]}
end

local function per_row(q)
    return {q.shape[1], q.shape[2], q.shape[3]}
end

local function per_pair(q, k)
    return {q.shape[1], q.shape[2], q.shape[3], k.shape[3]}
end

local function per_place(q, _, opts)
    return {q.shape[1], q.shape[2], q.shape[3], opts.topk}
end

local function per_key(q, k, opts)
    return {q.shape[1], opts.per == "kv_head" and k.shape[2] or q.shape[2],
        opts.key_range[2] - opts.key_range[1]}
end

local function per_diagonal(q, k)
    return {q.shape[1], q.shape[2], q.shape[3] + k.shape[3] - 1}
end

local function per_tile(q, k, opts)
    return {q.shape[1], q.shape[2], math.ceil(q.shape[3] / opts.tile),
        math.ceil(k.shape[3] / opts.tile)}
end

local function per_head(q)
    return {q.shape[2]}
end

local function index_dtype()
    return "i32"
end

local function row_dtype(q)
    return q.dtype == "f64" and "f64" or "f32"
end

local function out_dtype(q, opts)
    return opts.out_dtype or q.dtype
end

local function scores_dtype(q, opts)
    return opts.scores_dtype or q.dtype
end

-- What `want` may hold, in the order in which results print. padded: rows begin at multiples of
-- 16 bytes, as vector and tensor-core stores like them. uses: the options that it looks at.
local SCORES = {scores_dtype = true}
local SUMS = {query_range = true, key_range = true}
local COLUMNS = {query_range = true, key_range = true, per = true}
local OUTPUTS = {
    {name = "out", shape = like_out, dtype = out_dtype, uses = {out_dtype = true}},
    {name = "lse", shape = per_row, dtype = row_dtype},
    {name = "row_max", shape = per_row, dtype = row_dtype},
    {name = "logits", shape = per_pair, dtype = scores_dtype, padded = true, uses = SCORES},
    {name = "masked", shape = per_pair, dtype = scores_dtype, padded = true, uses = SCORES},
    {name = "probs", shape = per_pair, dtype = scores_dtype, padded = true, uses = SCORES},
    {name = "entropy", shape = per_row, dtype = row_dtype},
    {name = "mean_distance", shape = per_row, dtype = row_dtype},
    {name = "row_sum", shape = per_row, dtype = row_dtype, uses = {key_range = true}},
    {name = "row_argmax", shape = per_row, dtype = index_dtype},
    {name = "topk_values", shape = per_place, dtype = row_dtype, uses = {topk = true}},
    {name = "topk_indices", shape = per_place, dtype = index_dtype, uses = {topk = true}},
    {name = "col_sum_probs", shape = per_key, dtype = row_dtype, uses = COLUMNS},
    {name = "col_sum_logits", shape = per_key, dtype = row_dtype, uses = COLUMNS},
    {name = "col_max_probs", shape = per_key, dtype = row_dtype, uses = COLUMNS},
    {name = "diag_sum_probs", shape = per_diagonal, dtype = row_dtype, uses = SUMS},
    {name = "diag_sum_logits", shape = per_diagonal, dtype = row_dtype, uses = SUMS},
    {name = "pooled_max", shape = per_tile, dtype = row_dtype, uses = {tile = true}},
    {name = "pooled_mass", shape = per_tile, dtype = row_dtype, uses = {tile = true}},
    {name = "max_logit", shape = per_head, dtype = row_dtype},
}

--- The outputs' names, in the order in which results print.
M.OUTPUT_NAMES = {}
local known_outputs = {}
for i, output in ipairs(OUTPUTS) do
    M.OUTPUT_NAMES[i] = output.name
    known_outputs[output.name] = output
end

local ROW_BYTES = 16

local function padded_stride(shape, dtype)
    local per_row_unit = ROW_BYTES / dtypes.size(dtype)
    local row = math.ceil(shape[4] / per_row_unit) * per_row_unit
    return {shape[2] * shape[3] * row, shape[3] * row, row, 1}
end

-- The names wanted, as a set.
local function wanted(call, opts)
    local given = opts.want or {}
    given = type(given) == "string" and {given} or given
    local set, any = {}, false
    for key, name in pairs(given) do
        if type(key) ~= "number" or not known_outputs[name] then
            local shown = type(key) == "number" and name or key
            errors.usage("%s: want: no output %s%s", call, options.show(shown),
                options.hint(shown, M.OUTPUT_NAMES))
        end
        set[name], any = true, true
    end
    for name, t in pairs(opts.outputs or {}) do
        if not known_outputs[name] then
            errors.usage("%s: outputs: no output %s%s", call, options.show(name),
                options.hint(name, M.OUTPUT_NAMES))
        end
        tensors.argument(call, "outputs." .. name, t)
        set[name], any = true, true
    end
    if not any then
        set.out = true
    end
    return set
end

-- Makes tensors that have a shape and an address range of their own, past any real one, but no
-- memory, for planning.
local function phantoms()
    local address = 2^47
    return function(shape, dtype, device, stride)
        stride = stride or shapes.strides(shape)
        local result = ffi.new("fasc_tensor *[1]")
        errors.check(C.fasc_tensor_wrap(device.handle, dtypes.code(dtype), #shape,
            shapes.array(shape), shapes.array(stride), ffi.cast("void *", address), result))
        local bytes = dtypes.size(dtype)
        for i, size in ipairs(shape) do
            bytes = bytes + dtypes.size(dtype) * stride[i] * (size - 1)
        end
        address = address + math.ceil(bytes / 64) * 64
        return tensors.wrap(result[0])
    end
end

-- ---- the call -----------------------------------------------------------------------------

--- One attention call, ready to run any number of times.
---@class fasc.AttentionCall
---@field args ffi.cdata* fasc_attention_args; valid as long as the call
---@field outputs table<string, fasc.Tensor>
---@field made fasc.Tensor[] those outputs that the call made itself
---@field inputs table<string, fasc.Tensor> q, k, v, mask; kept as long as the call
---@field kernel table the configuration, whose strings args points into
---@field tuned table? the one that the user's file has for such a problem (see tuned.lua)
---@field seed number?   of dropout, drawn or given
---@field offset number?
local Call = {}
Call.__index = Call

-- The inputs' handles; only what is needed to know the outputs' shapes is checked here, and the
-- library checks the rest.
local function set_inputs(call, args, inputs)
    args.q = tensors.argument(call, "q", inputs.q)
    args.k = tensors.argument(call, "k", inputs.k)
    if inputs.v ~= nil then
        args.v = tensors.argument(call, "v", inputs.v)
    end
    if inputs.mask ~= nil then
        args.mask = tensors.argument(call, "attn_mask", inputs.mask)
    end
    for _, name in ipairs {"q", "k"} do
        if inputs[name].rank ~= 4 then
            errors.usage("%s: %s: %s must have rank 4: (batch, heads, seqlen, head_dim)", call,
                name, tensors.describe(inputs[name]))
        elseif inputs[name]:numel() == 0 then
            errors.usage("%s: %s: %s has a zero size", call, name,
                tensors.describe(inputs[name]))
        end
    end
end

local function set_window(call, args, window)
    for side, limit in pairs(window) do
        if side ~= 1 and side ~= 2 or not options.is_integer(limit) or limit < -1 then
            errors.usage("%s: window: must be {left, right}, integers >= 0 or -1 for no limit, "
                .. "got %s = %s", call, tostring(side), options.show(limit))
        end
    end
    args.has_window = 1
    args.window_left = window[1] or -1
    args.window_right = window[2] or -1
end

local function set_options(call, args, opts)
    local align = opts.align
    if type(opts.causal) == "string" then
        if align and align ~= opts.causal then
            errors.usage("%s: align: \"%s\" contradicts causal = \"%s\"", call, align, opts.causal)
        end
        align = opts.causal
    end
    args.causal = opts.causal and 1 or 0
    args.align = align == "top_left" and C.FASC_ALIGN_TOP_LEFT or C.FASC_ALIGN_BOTTOM_RIGHT
    if opts.sm_scale then
        args.has_scale, args.sm_scale = 1, opts.sm_scale
    end
    if opts.window then
        set_window(call, args, opts.window)
    end
end

-- ---- the statistics' options -------------------------------------------------------------------

-- A range as {first, past the last}, both >= 0, from {a, b} as t:slice takes it; nil is all.
local function range(call, option, given, n)
    local bounds = {0, n}
    for i, value in pairs(given or {}) do
        if i ~= 1 and i ~= 2 or not options.is_integer(value) then
            errors.usage("%s: %s: must be {first, past the last}, integers, got %s = %s", call,
                option, tostring(i), options.show(value))
        end
        bounds[i] = value < 0 and value + n or value
    end
    if bounds[1] < 0 or bounds[2] > n or bounds[1] >= bounds[2] then
        errors.usage("%s: %s: [%.0f, %.0f) is not a range within [0, %.0f)", call, option,
            bounds[1], bounds[2], n)
    end
    return bounds
end

local MUST = {topk = "1 to 64", tile = "at least 1"}

-- k and tile, where an output that the caller brought says it; every option has an output that
-- looks at it, and every output its option. A dtype is one of outputs that the call makes.
local function match_options(call, opts, set)
    local brought = opts.outputs or {}
    local used = {}
    local places = brought.topk_values or brought.topk_indices
    opts.topk = opts.topk or places and places.rank == 4 and places.shape[4] or nil
    for name in pairs(set) do
        for option in pairs(known_outputs[name].uses or {}) do
            used[option] = not (option:find "_dtype$" and brought[name]) and name or used[option]
        end
    end
    for _, option in ipairs {"query_range", "key_range", "per", "topk", "tile", "out_dtype",
        "scores_dtype"} do
        local given = opts[option] ~= nil and opts[option] ~= "head"
        if given and not used[option] then
            local users = {}
            for _, output in ipairs(OUTPUTS) do
                users[#users + 1] = (output.uses or {})[option] and output.name or nil
            end
            errors.usage("%s: %s: none of what is wanted looks at it, only %s", call, option,
                table.concat(users, ", "))
        elseif used[option] and MUST[option] and not given then
            errors.usage("%s: %s: must be given, %s, for %s", call, option, MUST[option],
                used[option])
        end
    end
end

local function set_dropout(self, name, opts, set)
    local args = self.args
    for _, option in ipairs {"seed", "offset"} do
        if opts[option] and not opts.dropout_p then
            errors.usage("%s: %s: is of dropout, but dropout_p is not given", name, option)
        end
    end
    if opts.dropout_p and not (opts.dropout_p >= 0 and opts.dropout_p < 1) then
        errors.usage("%s: dropout_p: must be at least 0 and below 1, got %g", name, opts.dropout_p)
    elseif (opts.dropout_p or 0) == 0 then
        return
    elseif not set.out then
        errors.usage("%s: dropout_p: out, all that it affects, is not wanted", name)
    end
    args.dropout_p = opts.dropout_p
    local seed, offset = random.draw {seed = opts.seed, stream = opts.offset}
    args.seed, args.dropout_offset = seed, offset % 2^32
    self.seed, self.offset = tonumber(args.seed), tonumber(args.dropout_offset)
end

local function set_statistics(self, name, opts, set)
    local args, q, k = self.args, self.inputs.q, self.inputs.k
    match_options(name, opts, set)
    opts.query_range = range(name, "query_range", opts.query_range, q.shape[3])
    opts.key_range = range(name, "key_range", opts.key_range, k.shape[3])
    args.query_begin, args.query_end = unpack(opts.query_range)
    args.key_begin, args.key_end = unpack(opts.key_range)
    args.per_kv_head = opts.per == "kv_head" and 1 or 0
    args.tile = opts.tile or 0
    if opts.splits and self.kernel.splits and opts.splits ~= self.kernel.splits then
        errors.usage("%s: splits: %.0f contradicts kernel.splits, %.0f", name, opts.splits,
            self.kernel.splits)
    end
    args.kernel.splits = opts.splits or self.kernel.splits or 0
    set_dropout(self, name, opts, set)
end

local function add_outputs(self, opts, set, allocate)
    local q, k = self.inputs.q, self.inputs.k
    for output_name in pairs(set) do
        local t = opts.outputs and opts.outputs[output_name]
        if not t then
            local output = known_outputs[output_name]
            local shape, dtype = output.shape(q, k, opts), output.dtype(q, opts)
            t = allocate(shape, dtype, q.device,
                output.padded and padded_stride(shape, dtype) or nil)
            self.made[#self.made + 1] = t
        end
        self.outputs[output_name] = t
        self.args[output_name] = t:handle()
    end
end

local function build(name, q, k, v, opts, allocate)
    local self = setmetatable({
        args = fasc_ffi.new "fasc_attention_args",
        inputs = {q = q, k = k, v = v, mask = opts.attn_mask},
        outputs = {},
        made = {},
    }, Call)
    set_inputs(name, self.args, self.inputs)
    set_options(name, self.args, opts)
    for _, option in ipairs {"out_dtype", "scores_dtype"} do
        opts[option] = opts[option] and dtypes.parse(name, option, opts[option])
    end
    self.kernel = kernels.configure(name, q.device, opts.kernel, self.args.kernel)
    local set = wanted(name, opts)
    set_statistics(self, name, opts, set)
    add_outputs(self, opts, set, allocate)
    if opts.kernel == nil then
        tuned.apply(self)
    end
    return self
end

--- Builds a call and allocates its outputs.
---@param name string the public function, for messages
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor? may be left out when out is not wanted
---@param opts fasc.AttentionOptions as options.check returns them
---@return fasc.AttentionCall
function M.prepare(name, q, k, v, opts)
    return build(name, q, k, v, opts, tensors.new)
end

-- Asks a call by a method, without any memory for its outputs.
local function ask(method, name, q, k, v, opts)
    opts.seed = opts.seed or opts.dropout_p and 0 or nil -- draws no number
    local call = build(name, q, k, v, opts, phantoms())
    local ok, answer = pcall(call[method], call)
    call:free()
    if not ok then
        error(answer, 0)
    end
    return answer
end

--- Plans a call.
---@return fasc.Plan
function M.plan(...)
    return ask("plan", ...)
end

--- Reports on the kernels that a call would run.
---@return fasc.CompileReport[]
function M.inspect(...)
    return ask("inspect", ...)
end

--- What would run, and why.
---@return fasc.Plan
function Call:plan()
    local plan = plans.struct()
    errors.check(C.fasc_attention_query(self.args, plan))
    return tuned.explain(self, plans.from(plan))
end

--- What the compiler says of what would run.
---@return fasc.CompileReport[]
function Call:inspect()
    return compile_reports.all(function(index, report, count)
        return C.fasc_attention_inspect(self.args, index, report, count)
    end, errors.check)
end

--- Runs it (on a GPU: queues it). On an error the outputs that the call made are freed.
---@return fasc.Plan
function Call:run()
    local plan = plans.struct()
    local ok, err = pcall(memory.call, C.fasc_attention, self.args, plan)
    if not ok then
        self:free()
        error(err, 0)
    end
    return tuned.explain(self, plans.from(plan))
end

--- Frees the outputs that the call made.
function Call:free()
    for _, t in ipairs(self.made) do
        t:free()
    end
end

return M
