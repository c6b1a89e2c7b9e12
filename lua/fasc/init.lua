-- init.lua - the module fasc: everything a script calls, gathered from the modules beside this one.
--
--     local fasc = require "fasc"
--     local q = fasc.randn({1, 8, 1024, 64}, {dtype = "f16", seed = 1})
--     local out, scores = fasc.attention_with_scores(q, fasc.randn_like(q), fasc.randn_like(q))
local fasc_ffi = require "fasc.ffi"
local attention = require "fasc.attention"
local create = require "fasc.create"
local devices = require "fasc.device"
local errors = require "fasc.errors"
local files = require "fasc.io"
local memory = require "fasc.memory"
local options = require "fasc.options"
local sums = require "fasc.sums"
local timing = require "fasc.timing"
require "fasc.print"

local C = fasc_ffi.C

---@class fasc
local fasc = {
    version = fasc_ffi.string(C.fasc_version()),

    device = devices.open,
    devices = devices.list,
    synchronize = devices.synchronize,
    set_num_threads = devices.set_num_threads,
    num_threads = devices.num_threads,
    memory = memory.memory,
    scope = require("fasc.scope").scope,

    empty = create.empty,
    empty_like = create.empty_like,
    zeros = create.zeros,
    zeros_like = create.zeros_like,
    ones = create.ones,
    ones_like = create.ones_like,
    full = create.full,
    full_like = create.full_like,
    arange = create.arange,
    rand = create.rand,
    rand_like = create.rand_like,
    randn = create.randn,
    randn_like = create.randn_like,
    from_table = create.from_table,
    manual_seed = require("fasc.random").manual_seed,
    is_tensor = require("fasc.tensor").is,

    attention = attention.attention,
    attention_with_scores = attention.attention_with_scores,
    compute_attention_scores = attention.compute_attention_scores,
    attention_with_row_sum = sums.attention_with_row_sum,
    attention_with_col_sum = sums.attention_with_col_sum,
    attention_with_softmax_col_sum = sums.attention_with_softmax_col_sum,
    attention_cross_token_qk_sum = sums.attention_cross_token_qk_sum,
    attention_cross_token_softmax_sum = sums.attention_cross_token_softmax_sum,
    scaled_dot_product_attention = require("fasc.sdpa").scaled_dot_product_attention,
    matmul = require("fasc.matmul").matmul,
    kernels = require("fasc.kernels").list,
    plan = attention.plan,
    inspect = attention.inspect,
    tune = require("fasc.tune").tune,
    check = require("fasc.check").check,

    load = files.load,
    save = files.save,
    open = files.open,
    heatmap = require("fasc.heatmap").heatmap,
    head_map = require("fasc.head_map").head_map,
    heat = require("fasc.heat").heat,
    show = require("fasc.heat").show,
    head_maps = require("fasc.head_map").head_maps,
    layers = require("fasc.head_map").layers,
    head_statistics = require("fasc.head_stats").statistics,

    op = require "fasc.op",
    time = timing.time,
    statistics = timing.statistics,
    bench = require "fasc.bench",
    stats = require "fasc.stats",

    is_error = errors.is,
}

--- How this build was made: version, commit, dirty, compiler, build type, libraries.
---@return table
function fasc.build_info()
    return require("fasc.json").decode(fasc_ffi.string(C.fasc_build_info()))
end

return setmetatable(fasc, {
    __index = function(_, name)
        errors.usage("fasc: no function %s%s", options.show(name), options.hint(name, fasc))
    end,
})
