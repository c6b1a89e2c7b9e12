# fasc_embed_files(OUT SYMBOL ROOT FILES...): writes the C file OUT with the contents of FILES as
#     const struct fasc_embedded SYMBOL[] = { {"path from ROOT", bytes, size}, ..., {0, 0, 0} };
# (see src/embedded.h). It is written again whenever one of the files changes.
set(FASC_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/embed_run.cmake)

function(fasc_embed_files out symbol root)
    set(paths "")
    foreach(path ${ARGN})
        get_filename_component(path ${path} ABSOLUTE BASE_DIR ${root})
        list(APPEND paths ${path})
    endforeach()
    add_custom_command(
        OUTPUT ${out}
        COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DSYMBOL=${symbol} -DROOT=${root} "-DFILES=${paths}"
                -P ${FASC_EMBED_SCRIPT}
        DEPENDS ${paths} ${FASC_EMBED_SCRIPT}
        COMMENT "Embedding sources in ${symbol}" VERBATIM)
endfunction()
