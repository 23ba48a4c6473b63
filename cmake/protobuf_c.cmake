# lockstep_proto(TARGET FILE.proto): FILE.pb-c.c joins TARGET, FILE.pb-c.h its include path, both made at build time.
find_program(PROTOC_C protoc-c REQUIRED)

function(lockstep_proto target proto)
    get_filename_component(path ${proto} ABSOLUTE)
    get_filename_component(folder ${path} DIRECTORY)
    get_filename_component(name ${path} NAME_WE)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/${name}.pb-c)
    add_custom_command(OUTPUT ${out}.c ${out}.h
                       COMMAND ${PROTOC_C} --c_out=${CMAKE_CURRENT_BINARY_DIR} --proto_path=${folder} ${path}
                       DEPENDS ${path} VERBATIM)
    # Not ours to mend: its warnings are off, here and for who includes it, and clang-tidy passes it by.
    set_source_files_properties(${out}.c PROPERTIES COMPILE_OPTIONS -w SKIP_LINTING ON)
    target_sources(${target} PRIVATE ${out}.c ${out}.h)
    target_include_directories(${target} SYSTEM PUBLIC ${CMAKE_CURRENT_BINARY_DIR})
    target_link_libraries(${target} PUBLIC protobuf-c) # by name, as a static program takes its archive
endfunction()
