-- heatmap.lua - attention maps as pictures, from saved maps or from saved q and k of any length.
--
--     fasc-bench heatmap qkv.safetensors --layer 4 --head 5 -o sink.png
--     fasc-bench heatmap qkv.safetensors --layer 4 --head 5 --crop 0:48,0:48 -o start.svg
--     fasc-bench heatmap qkv.safetensors --grid -o heads.png
--     fasc-bench heatmap run.safetensors --tensor '*.probs' --head 2,5-7 --pool mass -o probs.pdf
--     fasc-bench heatmap new.safetensors --tensor probs --diff old.safetensors -o change.png
--     fasc-bench heatmap map.npy --raw --max-size 100000 -o map.png
--
-- Queries run down, keys across. Grey is masked, magenta is NaN; probabilities get a log scale. The
-- picture's text says which tensor it shows, how it was scaled and pooled, and by which version.
local fasc = require "fasc"
local cli = require "fasc.cli"
local tokens = require "fasc.tokens"

local parser = cli.parser("heatmap", "Draws attention maps, queries down and keys across.")
parser:argument("file", "a .safetensors, .npz or .npy file")
parser:option("-o --output", "the picture: .png, .svg or .pdf"):argname "FILE":count(1)
parser:flag("--raw", "only the cells, one pixel each, of any size (.png)")

parser:option("--tensor", "a saved map's name or pattern: (Nq, Nk), (H, Nq, Nk) or (B, H, Nq, Nk)")
    :argname "GLOB"
parser:option("--layer", "look for layers.L.q and so on: 4, 0-3,5 or all"):argname "LIST"
    :convert(cli.list "--layer")
parser:option("--head", "0-3,7 or all (default: 0); several make a grid"):argname "LIST"
    :convert(cli.list "--head")
parser:option("--batch", "which batch entry (default: 0)"):argname "B":convert(cli.whole "--batch")
parser:flag("--grid", "all heads of all layers, but for those that --layer and --head pick")
parser:option("--diff", "subtract the same maps of this file"):argname "FILE"
parser:option("--scores", "what to compute from q and k (default: probs)")
    :choices {"probs", "masked", "logits"}
parser:flag("--causal", "queries see no later key (default: what the file's metadata say)")
parser:flag("--full", "queries see every key")
parser:option("--layout", "how q and k lie in the file (default: bhnd)"):choices {"bhnd", "bnhd"}
parser:option("--device", "where scores are computed"):argname "NAME"

parser:option("--crop", "a part of the map"):argname "Q0:Q1,K0:K1":convert(cli.crop "--crop")
parser:option("--tokens", "labels: one token a line, or a JSON list (default: the file's tokens)")
    :argname "FILE"
parser:option("--scale", "default: log for probabilities, else linear")
    :choices {"log", "linear", "percentile"}
parser:option("--map", "colours (default: viridis)")
    :choices {"viridis", "magma", "cividis", "diverging"}
parser:option("--pool", "how maps are pooled (default: max)"):choices {"max", "mass", "mean"}
parser:option("--max-size", "cells of the longer side (default: 1024, less in a grid)"):argname "N"
    :convert(cli.whole "--max-size")
parser:option("--theme", "default: light"):choices {"light", "dark"}
parser:option("--title", "default: what is drawn"):argname "TEXT"
local args = cli.read(parser)

local function maps_of(path)
    local file = fasc.open(path)
    local layer = args.layer
    if layer == "all" or args.grid and not layer and not args.tensor then
        layer = fasc.layers(file)
    end
    local causal = nil
    if args.causal or args.full then
        causal = args.causal or false
    end
    return fasc.head_maps(file, {
        tensor = args.tensor, layer = layer and #layer > 0 and layer or nil,
        head = args.head or args.grid and "all" or nil, batch = args.batch, scores = args.scores,
        causal = causal, layout = args.layout, device = args.device,
    }), args.tokens and tokens.load(args.tokens) or tokens.of_file(file)
end

local maps, labels = maps_of(args.file)
local name = args.file:match "[^/]*$"
local of = args.diff and " − " .. args.diff:match "[^/]*$" or ""
local info = fasc.heatmap(maps, {
    path = args.output, raw = args.raw, minus = args.diff and maps_of(args.diff), crop = args.crop,
    tokens = labels, scale = args.scale, map = args.map, pool = args.pool, theme = args.theme,
    max_size = args.max_size, title = args.title, note = name .. of, metadata = {file = name .. of},
})
io.stderr:write(info.missing and ("heatmap: only the cells: %s\n"):format(info.missing) or "",
    info.nan_count > 0 and ("heatmap: %.0f elements are NaN, drawn magenta\n"):format(
        info.nan_count) or "")
print(info)
