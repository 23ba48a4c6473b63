# LOCKSTEP_SANITIZE: empty, or what -fsanitize= takes ("address,undefined", "thread").
set(LOCKSTEP_SANITIZE "" CACHE STRING "sanitizers to build with")
option(LOCKSTEP_FUZZ "build the libFuzzer targets (needs clang)" OFF)
if(LOCKSTEP_SANITIZE)
    add_compile_options(-fsanitize=${LOCKSTEP_SANITIZE} -fno-sanitize-recover=all
                        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${LOCKSTEP_SANITIZE})
endif()
if(LOCKSTEP_FUZZ)
    # Coverage of the libraries too, or the fuzzer would be blind outside its own file.
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
