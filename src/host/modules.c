/* modules.c - where require finds the fasc.* modules: in the table that the build embeds, or under
 * --lua-dir. Module fasc is fasc/init.lua, fasc.x is fasc/x.lua. fasc.cdef is a string: the region
 * of fasc.h that ffi.cdef reads. The searcher stands right behind package.preload, so that no fasc/
 * folder beside a script gets in the way. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "embedded.h"
#include "host.h"

#define HEADER_NAME  "src/fasc.h"
#define CDEF_BEGIN   "/* --- ffi: begin --- */"
#define CDEF_END     "/* --- ffi: end --- */"
#define EMBEDDED_DIR "lua"

static bool embedded = true;
static const char *module_dir = EMBEDDED_DIR; /* chunk names are @DIR/fasc/x.lua */

static const struct fasc_embedded *find_embedded(const char *name)
{
    for (const struct fasc_embedded *file = fasc_embedded_lua; file->name; file++) {
        if (strcmp(file->name, name) == 0) {
            return file;
        }
    }
    return NULL;
}

int host_push_source(lua_State *L, const char *name)
{
    const struct fasc_embedded *file = find_embedded(name);
    if (file) {
        lua_pushlstring(L, file->text, file->size);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

int host_push_source_names(lua_State *L)
{
    int count = 0;
    lua_newtable(L);
    for (const struct fasc_embedded *file = fasc_embedded_lua; file->name; file++) {
        lua_pushstring(L, file->name);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

static int cdef_loader(lua_State *L)
{
    const struct fasc_embedded *header = find_embedded(HEADER_NAME);
    const char *begin = header ? strstr(header->text, CDEF_BEGIN) : NULL;
    const char *end = begin ? strstr(begin, CDEF_END) : NULL;
    if (!end) {
        return luaL_error(L, "this program holds no declarations of the library");
    }
    lua_pushlstring(L, begin, (size_t)(end - begin));
    return 1;
}

/* "fasc" -> DIR/fasc/init.lua, "fasc.a.b" -> DIR/fasc/a/b.lua */
static void push_module_path(lua_State *L, const char *module)
{
    lua_pushfstring(L, "%s/%s.lua", module_dir,
                    luaL_gsub(L, strcmp(module, "fasc") == 0 ? "fasc.init" : module, ".", "/"));
    lua_remove(L, -2);
}

static int search(lua_State *L)
{
    const char *module = luaL_checkstring(L, 1);
    if (strcmp(module, "fasc.cdef") == 0) {
        lua_pushcfunction(L, cdef_loader);
        return 1;
    }
    if (strcmp(module, "fasc") != 0 && strncmp(module, "fasc.", 5) != 0) {
        return 0;
    }
    push_module_path(L, module);
    const char *path = lua_tostring(L, -1);
    int status;
    if (embedded) {
        const struct fasc_embedded *file = find_embedded(path);
        if (!file) {
            return luaL_error(L, "there is no module '%s' inside " HOST_NAME, module);
        }
        status = luaL_loadbuffer(L, file->text, file->size, lua_pushfstring(L, "@%s", path));
        lua_remove(L, -2);
    } else {
        status = luaL_loadfile(L, path);
    }
    return status == 0 ? 1 : lua_error(L);
}

void host_modules_install(lua_State *L, const host_options *options)
{
    if (options->lua_dir) {
        embedded = false;
        module_dir = options->lua_dir;
    }
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    for (int i = (int)lua_objlen(L, -1); i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, search);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}
