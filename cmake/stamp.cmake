# The target fasc_stamp writes generated/build_info.h at every build (only when it changes):
# commit and dirty flag of the sources, compiler, build type.
set(FASC_STAMP_HEADER ${CMAKE_BINARY_DIR}/generated/build_info.h)
add_custom_target(fasc_stamp
    COMMAND ${CMAKE_COMMAND} -DOUT=${FASC_STAMP_HEADER} -DROOT=${CMAKE_SOURCE_DIR}
            -DVERSION=${PROJECT_VERSION} -DBUILD_TYPE=${CMAKE_BUILD_TYPE}
            "-DCOMPILER=${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}"
            -P ${CMAKE_CURRENT_LIST_DIR}/stamp_run.cmake
    BYPRODUCTS ${FASC_STAMP_HEADER}
    COMMENT "Stamping the build" VERBATIM)
