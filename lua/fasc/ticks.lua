-- ticks.lua - where an axis has its marks and how their numbers are written.
local M = {}

local SUPERSCRIPT = {
    ["-"] = "⁻", ["0"] = "⁰", ["1"] = "¹", ["2"] = "²", ["3"] = "³", ["4"] = "⁴", ["5"] = "⁵",
    ["6"] = "⁶", ["7"] = "⁷", ["8"] = "⁸", ["9"] = "⁹",
}

local function power_of_ten(n)
    return "10" .. tostring(n):gsub(".", SUPERSCRIPT)
end

--- A number as a label: 4096, 0.25, 10⁻⁴, 3×10⁷, with a real minus sign.
---@param x number
---@return string
function M.label(x)
    local size = math.abs(x)
    local text
    if x == 0 or size >= 1e-3 and size < 1e7 then
        text = ("%.6g"):format(x)
    else
        local digits, exponent = ("%.2e"):format(x):match "^(.-)e([-+]%d+)$"
        digits = digits:gsub("%.?0+$", "")
        local power = power_of_ten(tonumber(exponent))
        text = digits == "1" and power or digits == "-1" and "-" .. power
            or digits .. "×" .. power
    end
    return (text:gsub("^%-", "−"))
end

-- Steps of 1, 2 or 5 times a power of ten.
local function linear(low, high, most)
    local raw = (high - low) / math.max(1, most)
    local power = 10 ^ math.floor(math.log10(raw))
    local step = power
    for _, factor in ipairs {1, 2, 5, 10} do
        step = factor * power
        if step >= raw * (1 - 1e-9) then
            break
        end
    end
    local list = {}
    for i = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) do
        list[#list + 1] = i * step + 0 -- never -0
    end
    return list
end

-- Powers of the base, thinned to `most`; with 2 and 5 between where there are few decades.
local function powers(low, high, most, base)
    local first = math.ceil(math.log(low) / math.log(base) - 1e-9)
    local last = math.floor(math.log(high) / math.log(base) + 1e-9)
    local every = math.max(1, math.ceil((last - first + 1) / most))
    local list = {}
    if base == 10 and last - first < 2 and most >= 3 then
        for exponent = first - 1, last do
            for _, factor in ipairs {1, 2, 5} do
                local x = factor * 10 ^ exponent
                if x >= low * (1 - 1e-9) and x <= high * (1 + 1e-9) then
                    list[#list + 1] = x
                end
            end
        end
        return #list >= 2 and list or linear(low, high, most)
    end
    for exponent = last - math.floor((last - first) / every) * every, last, every do
        list[#list + 1] = base ^ exponent
    end
    return list
end

--- Round values within [low, high] for the marks of an axis, at most about `most` of them.
---@param low number
---@param high number
---@param scale "linear"|"log"|"log2" log and log2 need low > 0
---@param most integer?  default 6
---@return number[]
function M.choose(low, high, scale, most)
    most = most or 6
    if high <= low then
        return {low}
    end
    if scale == "linear" then
        return linear(low, high, most)
    end
    return powers(low, high, most, scale == "log2" and 2 or 10)
end

--- Where a value lies between low (0) and high (1).
---@param x number
---@return number
function M.position(x, low, high, scale)
    if high == low then
        return 0.5
    end
    if scale == "linear" then
        return (x - low) / (high - low)
    end
    return math.log(x / low) / math.log(high / low)
end

return M
