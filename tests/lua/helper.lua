-- helper.lua - runs once before the specs: busted --helper=tests/lua/helper.lua. Loads fasc,
-- because busted forgets between files the modules that were not there at its start, and lets specs
-- require support.lua from any folder.
local folder = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
package.path = folder .. "/?.lua;" .. package.path

require "fasc"
require "support"
