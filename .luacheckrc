-- Strict by default: no globals set, no unused names, 100 columns.
std = "luajit"
max_line_length = 100
files["tests"] = {std = "+busted"}
exclude_files = {"build/**"}
