# fasc_isa_flags(FILES...): the instruction set that a C file is compiled for, by its name.
#   *_portable.c  what the compiler's target has at least
#   *_avx2.c      AVX2, FMA, F16C
#   *_avx512.c    AVX-512 F, BW, DQ, VL, with FMA and F16C
# They are chosen at run time (src/cpu/isa.h); only they let the compiler contract a*b+c.
# Elsewhere than on x86-64 the files of its sets are empty.
function(fasc_isa_flags)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
        set(avx2 -mavx2 -mfma -mf16c)
        set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
    endif()
    foreach(path ${ARGN})
        if(path MATCHES "_(portable|avx2|avx512)\\.c$")
            set_property(SOURCE ${path} APPEND PROPERTY COMPILE_OPTIONS
                         ${${CMAKE_MATCH_1}} -O3 -ffp-contract=fast)
        endif()
    endforeach()
endfunction()
