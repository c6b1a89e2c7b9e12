-- helper.lua - runs once before the specs: busted --helper=tests/lua/helper.lua. Loads fasc,
-- because busted forgets between files the modules that were not there at its start, and lets
-- specs require support.lua from any folder.
local folder = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
package.path = folder .. "/?.lua;" .. package.path

for file in lfs.dir(folder .. "/../../lua/fasc") do
    local name = file:match "^([%w_]+)%.lua$"
    if name then
        require(name == "init" and "fasc" or "fasc." .. name)
    end
end
require "support"
