# Run by fasc_stamp at build time: OUT, ROOT, VERSION, BUILD_TYPE, COMPILER.
set(commit "unknown")
set(dirty "false")
execute_process(COMMAND git -C ${ROOT} rev-parse --short=12 HEAD
                OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE rc)
if(rc EQUAL 0)
    set(commit ${head})
    execute_process(COMMAND git -C ${ROOT} status --porcelain --untracked-files=no
                    OUTPUT_VARIABLE changes ERROR_QUIET)
    if(NOT changes STREQUAL "")
        set(dirty "true")
    endif()
endif()
set(text "#define FASC_BUILD_VERSION \"${VERSION}\"
#define FASC_BUILD_COMMIT \"${commit}\"
#define FASC_BUILD_DIRTY \"${dirty}\"
#define FASC_BUILD_COMPILER \"${COMPILER}\"
#define FASC_BUILD_TYPE \"${BUILD_TYPE}\"
")
set(old "")
if(EXISTS ${OUT})
    file(READ ${OUT} old)
endif()
if(NOT text STREQUAL old)
    file(WRITE ${OUT} "${text}")
endif()
