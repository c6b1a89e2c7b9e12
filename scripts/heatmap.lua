-- heatmap.lua - one head's attention map as a picture, from a saved map or from saved q and k.
--
--     fasc-bench heatmap qkv.safetensors --layer 4 --head 5 --causal -o sink.png
--     fasc-bench heatmap qkv.safetensors --layer 1 --scores logits --map diverging -o logits.png
--     fasc-bench heatmap run.safetensors --tensor probs --head 2 --pool mass -o probs.png
--     fasc-bench heatmap map.npy -o map.png
--
-- Queries run down, keys across. Grey is masked, magenta is NaN; probabilities get a log scale. The
-- PNG's text says which tensor it shows, how it was scaled and pooled, and by which version.
-- Without --tensor the map is computed from q and k (with --layer L from layers.L.q and
-- layers.L.k), or is what the file calls probs, attn, scores, logits or masked.
local fasc = require "fasc"
local cli = require "fasc.cli"

local parser = cli.parser("heatmap", "Draws one head's attention map as a PNG.")
parser:argument("file", "a .safetensors or .npy file")
parser:option("-o --output", "the PNG to write"):argname "FILE":count(1)

parser:option("--tensor", "a saved map: (Nq, Nk), (H, Nq, Nk) or (B, H, Nq, Nk)"):argname "NAME"
parser:option("--layer", "look for layers.L.q and so on"):argname "L":convert(cli.whole "--layer")
parser:option("--head", "which head (default: 0)"):argname "H":convert(cli.whole "--head")
parser:option("--batch", "which batch entry (default: 0)"):argname "B":convert(cli.whole "--batch")
parser:option("--scores", "what to compute from q and k (default: probs)")
    :choices {"probs", "masked", "logits"}
parser:flag("--causal", "queries see no later key: their cells are grey")
parser:option("--device", "where scores are computed"):argname "NAME"

parser:option("--scale", "default: log for probabilities"):choices {"log", "linear"}
parser:option("--map", "colours (default: viridis)"):choices {"viridis", "diverging"}
parser:option("--pool", "how maps are pooled (default: max)"):choices {"max", "mass", "mean"}
parser:option("--max-size", "cells of the longer side (default: 1024)"):argname "N"
    :convert(cli.whole "--max-size")
parser:option("--cell", "pixels of a cell and side (default: 1)"):argname "N"
    :convert(cli.whole "--cell")
local args = cli.read(parser)

local map, source = fasc.head_map(fasc.open(args.file), {
    tensor = args.tensor, layer = args.layer, head = args.head, batch = args.batch,
    scores = args.scores, causal = args.causal, device = args.device,
})
local is_probs = source.tensor:match "probs$" or source.tensor:match "attn$"
local info = fasc.heatmap(map, {
    path = args.output,
    scale = args.scale or (is_probs and args.map ~= "diverging") and "log" or nil,
    map = args.map, pool = args.pool, max_size = args.max_size, cell = args.cell,
    causal = args.causal,
    metadata = {
        tensor = source.tensor, layer = source.layer, head = source.head, batch = source.batch,
        computed = source.computed and "from q and k" or "no",
    },
})

if info.nan_count > 0 then
    io.stderr:write(("heatmap: %d elements are NaN, drawn magenta\n"):format(info.nan_count))
end
print(("%s: %s%s, %d x %d pixels, a cell is %d x %d, colours %.4g to %.4g"):format(args.output,
    source.tensor, source.head and " head " .. source.head or "", info.width, info.height,
    info.pool_rows, info.pool_cols, info.low, info.high))
