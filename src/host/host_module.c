/* host_module.c - the module fasc.host: what Lua code needs to know of the process it runs in.
 *
 *   host.version       string       "0.1.0"
 *   host.device        string|nil   --device as given
 *   host.lua_dir       string|nil   --lua-dir as given
 *   host.executable    string       this program's path
 *   host.scripts_dir   string       the folder of the scripts that come with fasc
 *   host.traceback     boolean      whether tracebacks were asked for
 *   host.isatty(name)  boolean      is "stdin", "stdout" or "stderr" a terminal?
 *   host.width()       integer|nil  columns of the terminal at stdout or stderr; nil at none
 *   host.mkdir(path)   true | nil, message   makes a folder and those above it
 *   host.list(path)    string[] | nil, message   names in a folder, folders with a slash behind
 *   host.sources()     string[]     names of the embedded files, "lua/fasc/op.lua"
 *   host.source(name)  string|nil   the text of one
 *   host.interrupted() boolean      has SIGINT asked to stop? (the run will exit with 130)
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>

#include "fasc.h"
#include "host.h"

int host_make_folders(const char *path)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part) {
        return length ? ENAMETOOLONG : ENOENT;
    }
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            part[i] = '\0';
            if (mkdir(part, 0777) != 0 && errno != EEXIST) {
                return errno;
            }
            part[i] = path[i];
        }
    }
    struct stat info;
    return stat(path, &info) != 0 ? errno : S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
}

static int host_isatty(lua_State *L)
{
    static const char *const names[] = {"stdin", "stdout", "stderr", NULL};
    lua_pushboolean(L, isatty(luaL_checkoption(L, 1, NULL, names)));
    return 1;
}

static int host_width(lua_State *L)
{
    struct winsize size;
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
            lua_pushinteger(L, size.ws_col);
            return 1;
        }
    }
    lua_pushnil(L);
    return 1;
}

static int host_mkdir(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    int error = host_make_folders(path);
    if (error) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s: %s", path, strerror(error));
        return 2;
    }
    lua_pushboolean(L, true);
    return 1;
}

static int host_list(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    DIR *dir = opendir(path);
    struct dirent *entry;
    int count = 0;
    if (!dir) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s: %s", path, strerror(errno));
        return 2;
    }
    lua_newtable(L);
    while ((entry = readdir(dir))) {
        struct stat info;
        bool folder = fstatat(dirfd(dir), entry->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode);
        lua_pushfstring(L, folder ? "%s/" : "%s", entry->d_name);
        lua_rawseti(L, -2, ++count);
    }
    closedir(dir);
    return 1;
}

static int host_source(lua_State *L)
{
    return host_push_source(L, luaL_checkstring(L, 1));
}

static int host_sources(lua_State *L)
{
    return host_push_source_names(L);
}

static int host_lua_interrupted(lua_State *L)
{
    lua_pushboolean(L, host_interrupted());
    return 1;
}

static const luaL_Reg FUNCTIONS[] = {
    {"isatty", host_isatty},
    {"width", host_width},
    {"mkdir", host_mkdir},
    {"list", host_list},
    {"source", host_source},
    {"sources", host_sources},
    {"interrupted", host_lua_interrupted},
    {NULL, NULL},
};

static void set_string(lua_State *L, const char *name, const char *value)
{
    if (value) {
        lua_pushstring(L, value);
        lua_setfield(L, -2, name);
    }
}

void host_module_install(lua_State *L, const host_options *options)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaded");
    lua_newtable(L);
    luaL_register(L, NULL, FUNCTIONS);
    set_string(L, "version", fasc_version());
    set_string(L, "device", options->device);
    set_string(L, "lua_dir", options->lua_dir);
    set_string(L, "executable", host_executable());
    set_string(L, "scripts_dir", host_scripts_dir());
    lua_pushboolean(L, options->traceback);
    lua_setfield(L, -2, "traceback");
    lua_setfield(L, -2, "fasc.host");
    lua_pop(L, 2);
}
