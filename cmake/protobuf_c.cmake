# lockstep_proto(TARGET FILE.proto): FILE.pb-c.c, made at build time, joins TARGET, and FILE.pb-c.h is
# found by it and by what links it.
find_program(PROTOC_C protoc-c REQUIRED)

function(lockstep_proto target proto)
    get_filename_component(path ${proto} ABSOLUTE)
    get_filename_component(folder ${path} DIRECTORY)
    get_filename_component(name ${path} NAME_WE)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/${name}.pb-c)
    add_custom_command(OUTPUT ${out}.c ${out}.h
                       COMMAND ${PROTOC_C} --c_out=${CMAKE_CURRENT_BINARY_DIR} --proto_path=${folder} ${path}
                       DEPENDS ${path} VERBATIM)
    # A target of its own, for the generated code is not ours to mend: no warnings, no clang-tidy.
    add_library(${name}_proto OBJECT ${out}.c ${out}.h)
    target_compile_options(${name}_proto PRIVATE -w)
    set_target_properties(${name}_proto PROPERTIES C_CLANG_TIDY "")
    target_link_libraries(${name}_proto PRIVATE protobuf-c)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${name}_proto> ${out}.h)
    target_include_directories(${target} SYSTEM PUBLIC ${CMAKE_CURRENT_BINARY_DIR})
    # As properties: some targets link with PUBLIC, some without, and a target takes one manner only.
    foreach(property LINK_LIBRARIES INTERFACE_LINK_LIBRARIES)
        set_property(TARGET ${target} APPEND PROPERTY ${property} protobuf-c)
    endforeach()
endfunction()
