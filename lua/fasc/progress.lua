-- progress.lua - how far a sweep is, on stderr: one updating line on a terminal, otherwise a line a
-- point. The time left comes from the points done so far.
local host = require "fasc.host"

local M = {}

--- Seconds in words: "0.4 s", "12 s", "3 min 05 s", "1 h 10 min".
---@param seconds number
---@return string
function M.duration(seconds)
    if seconds < 9.95 then
        return ("%.1f s"):format(seconds)
    end
    local whole = math.floor(seconds + 0.5)
    if whole < 60 then
        return ("%d s"):format(whole)
    elseif whole < 3600 then
        return ("%d min %02d s"):format(math.floor(whole / 60), whole % 60)
    end
    local minutes = math.floor(whole / 60 + 0.5)
    return ("%d h %02d min"):format(math.floor(minutes / 60), minutes % 60)
end

-- Seconds a point takes, fitted to those done: a + b weight with a, b >= 0 (least squares).
local function fit(done)
    local n, sw, ss, sww, sws = 0, 0, 0, 0, 0
    for _, d in ipairs(done) do
        n, sw, ss = n + 1, sw + d.weight, ss + d.seconds
        sww, sws = sww + d.weight ^ 2, sws + d.weight * d.seconds
    end
    local spread = n * sww - sw ^ 2
    local b = spread > 1e-9 * sww and (n * sws - sw * ss) / spread or 0
    local a = (ss - b * sw) / n
    if b < 0 then
        return ss / n, 0
    elseif a < 0 then
        return 0, ss / sw
    end
    return a, b
end

local Progress = {}
Progress.__index = Progress

--- weights: one number for each point to come, what it costs beside the others (FLOPs, say).
---@param weights number[]
---@param quiet boolean
function M.new(weights, quiet)
    local width = host.width()
    return setmetatable({
        weights = weights,
        total = #weights,
        done = {},
        quiet = quiet,
        terminal = host.isatty "stderr",
        width = math.max(20, (width or 80) - 1),
    }, Progress)
end

--- Seconds until all points are done, as far as it can be told; nil before the first one.
---@return number?
function Progress:left()
    if #self.done == 0 then
        return nil
    end
    local a, b = fit(self.done)
    local seconds = 0
    for i = #self.done + 1, self.total do
        seconds = seconds + a + b * self.weights[i]
    end
    return seconds
end

--- A point begins: on a terminal the line shows it.
---@param label string
function Progress:start(label)
    if self.quiet or not self.terminal then
        return
    end
    local left = self:left()
    local text = ("[%d/%d] %s%s"):format(#self.done + 1, self.total, label,
        left and ", " .. M.duration(left) .. " left" or "")
    io.stderr:write("\r\27[K", text:sub(1, self.width))
    io.stderr:flush()
end

--- A point ended; seconds is what it took in all, outcome a few words on it.
---@param label string
---@param seconds number
---@param outcome string
function Progress:finish(label, seconds, outcome)
    self.done[#self.done + 1] = {weight = self.weights[#self.done + 1], seconds = seconds}
    if self.quiet then
        return
    elseif self.terminal then
        return self:clear()
    end
    io.stderr:write(("[%d/%d] %s: %s (%s left)\n"):format(#self.done, self.total, label, outcome,
        M.duration(self:left())))
end

--- Removes the updating line, so that something else can be printed.
function Progress:clear()
    if self.terminal and not self.quiet then
        io.stderr:write("\r\27[K")
        io.stderr:flush()
    end
end

return M
