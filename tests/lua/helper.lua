-- helper.lua - busted runs it once before the first spec (see .busted). busted forgets, when a file
-- of specs ends, the modules that it has loaded, but keeps those loaded here: all of fasc is, so
-- that every file sees the same modules. Also lets specs require support.lua from any folder.
local lfs = require "lfs"

local folder = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
package.path = folder .. "/?.lua;" .. package.path

for file in lfs.dir(folder .. "/../../lua/fasc") do
    local name = file:match "^([%w_]+)%.lua$"
    if name then
        require(name == "init" and "fasc" or "fasc." .. name)
    end
end
require "support"
require("fasc.tuned").ignore() -- what the user has kept is no part of the tests
