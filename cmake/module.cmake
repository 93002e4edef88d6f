# SPDX-License-Identifier: MIT OR Apache-2.0
# fr_module(NAME [DIR dir] [DEPS module...] [TEST_DEPS module...] [LIBS target...])
#
# One folder, one module: DIR (default src/NAME) with its public headers in DIR/include/fr/, its sources, and beside
# them *_test.c (a cmocka program each, run by ctest), *_fuzz.c (a libFuzzer target each; without FR_FUZZ the same
# file is linked to a driver that replays files) and *_bench.c (a program each in build/bench). Nothing to register:
# a file that is there is built. A dependency that is not earlier in FR_LAYERS is an error here, and a header of a
# module that is not named is on no include path.
#
# Tests also see the modules of TEST_DEPS, which stand before NAME as well.
#
#   name of a test contains    ctest label    meaning
#   corpus                     corpus         reads FR_CORPUS
#   slow                       slow           left out of the asan and tsan passes
#
# Seeds of NAME_fuzz.c lie in DIR/seeds/NAME_fuzz/; ctest replays them in every build, the fuzzer starts from them.
# Targets: modules, tests, fuzzers, benches, product (cmake/product.cmake); `all` is all of them.
enable_testing()
set_property(GLOBAL PROPERTY FR_MODULES "")
set_property(GLOBAL PROPERTY FR_LIBRARIES "")
foreach(group modules tests fuzzers benches)
  add_custom_target(${group})
endforeach()

# What every test is told: labels from its name, a time-out, how sanitizers behave.
function(fr_test_properties TEST_NAME)
  set(labels "")
  foreach(label corpus slow)
    if("${TEST_NAME}" MATCHES "${label}")
      list(APPEND labels ${label})
    endif()
  endforeach()
  set_tests_properties(${TEST_NAME} PROPERTIES
    LABELS "${labels}" TIMEOUT 900 SKIP_RETURN_CODE 77
    ENVIRONMENT "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp:second_deadlock_stack=1;\
UBSAN_OPTIONS=print_stacktrace=1;FR_CORPUS=${FR_CORPUS}")
endfunction()

# One program from one source of a module.
function(fr_program TARGET MODULE DIR GROUP)
  cmake_parse_arguments(P "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${TARGET} ${P_SOURCES})
  target_include_directories(${TARGET} PRIVATE ${DIR})
  target_link_libraries(${TARGET} PRIVATE fr_${MODULE} ${P_LIBS} Threads::Threads m)
  target_compile_definitions(${TARGET} PRIVATE FR_CORPUS="${FR_CORPUS}")
  add_dependencies(${GROUP} ${TARGET})
endfunction()

function(fr_fuzzer TARGET MODULE DIR SOURCE STEM)
  if(FR_FUZZ)
    fr_program(${TARGET} ${MODULE} ${DIR} fuzzers SOURCES ${SOURCE} LIBS ${ARGN})
    target_link_options(${TARGET} PRIVATE -fsanitize=fuzzer)
  else()
    fr_program(${TARGET} ${MODULE} ${DIR} fuzzers SOURCES ${SOURCE} ${CMAKE_SOURCE_DIR}/tests/fuzz_replay.c
               LIBS ${ARGN})
  endif()
  # No header declares libFuzzer's entry point.
  target_compile_options(${TARGET} PRIVATE $<$<COMPILE_LANGUAGE:C>:-Wno-missing-prototypes>)
  set_target_properties(${TARGET} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  file(GLOB seeds CONFIGURE_DEPENDS ${DIR}/seeds/${STEM}/*)
  if(seeds)
    set(runs "")
    if(FR_FUZZ)
      set(runs -runs=0)
    endif()
    add_test(NAME ${TARGET}_seeds COMMAND ${TARGET} ${runs} ${seeds})
    fr_test_properties(${TARGET}_seeds)
  endif()
endfunction()

function(fr_library NAME DIR)
  cmake_parse_arguments(L "" "" "SOURCES;DEPS;LIBS" ${ARGN})
  list(TRANSFORM L_DEPS PREPEND fr_)
  if(L_SOURCES)
    add_library(fr_${NAME} STATIC ${L_SOURCES})
    set(scope PUBLIC)
    target_include_directories(fr_${NAME} PRIVATE ${DIR})
    target_link_libraries(fr_${NAME} PUBLIC ${L_DEPS} PRIVATE ${L_LIBS} Threads::Threads m)
    set_property(GLOBAL APPEND PROPERTY FR_MODULES fr_${NAME})
    set_property(GLOBAL APPEND PROPERTY FR_LIBRARIES ${L_LIBS})
    add_dependencies(modules fr_${NAME})
  else()
    add_library(fr_${NAME} INTERFACE)
    set(scope INTERFACE)
    target_link_libraries(fr_${NAME} INTERFACE ${L_DEPS})
  endif()
  target_include_directories(fr_${NAME} ${scope} ${DIR}/include)
endfunction()

function(fr_check_layer NAME)
  list(FIND FR_LAYERS ${NAME} own)
  if(own LESS 0)
    message(FATAL_ERROR "module ${NAME} is not in FR_LAYERS")
  endif()
  foreach(dep ${ARGN})
    list(FIND FR_LAYERS ${dep} below)
    if(below LESS 0 OR NOT below LESS own)
      message(FATAL_ERROR "upward include: module ${NAME} may not depend on ${dep}")
    endif()
  endforeach()
endfunction()

function(fr_module NAME)
  cmake_parse_arguments(M "" "DIR" "DEPS;TEST_DEPS;LIBS" ${ARGN})
  if(NOT M_DIR)
    set(M_DIR src/${NAME})
  endif()
  fr_check_layer(${NAME} ${M_DEPS} ${M_TEST_DEPS})
  list(TRANSFORM M_TEST_DEPS PREPEND fr_)
  set(dir ${CMAKE_CURRENT_SOURCE_DIR}/${M_DIR})
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.c ${dir}/*.cc)
  foreach(kind test fuzz bench)
    set(${kind}s ${sources})
    list(FILTER ${kind}s INCLUDE REGEX "_${kind}\\.c$")
  endforeach()
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz|bench)\\.c$")
  fr_library(${NAME} ${dir} SOURCES ${sources} DEPS ${M_DEPS} LIBS ${M_LIBS})

  foreach(source ${tests})
    get_filename_component(stem ${source} NAME_WE)
    fr_program(${NAME}_${stem} ${NAME} ${dir} tests SOURCES ${source}
               LIBS ${M_TEST_DEPS} ${M_LIBS} PkgConfig::cmocka)
    target_include_directories(${NAME}_${stem} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support)
    # A test that defines __wrap_F is called in the place of F; failing_memory.h defines some.
    file(STRINGS ${source} wrapped REGEX "__wrap_[a-z_]+\\(|^#include \"failing_memory.h\"")
    string(REPLACE "#include \"failing_memory.h\"" "__wrap_malloc __wrap_calloc __wrap_realloc __wrap_posix_memalign"
           wrapped "${wrapped}")
    string(REGEX MATCHALL "__wrap_[a-z_]+" wrapped "${wrapped}")
    list(TRANSFORM wrapped REPLACE "__wrap_" "-Wl,--wrap=")
    list(REMOVE_DUPLICATES wrapped)
    target_link_options(${NAME}_${stem} PRIVATE ${wrapped})
    # clang cannot know that cmocka's assertions do not return: assert_true(parse(&x) && x.y) is no use of an unset x.
    target_compile_options(${NAME}_${stem} PRIVATE $<$<C_COMPILER_ID:Clang>:-Wno-sometimes-uninitialized>)
    add_test(NAME ${NAME}_${stem} COMMAND ${NAME}_${stem} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    fr_test_properties(${NAME}_${stem})
  endforeach()
  foreach(source ${fuzzs})
    get_filename_component(stem ${source} NAME_WE)
    fr_fuzzer(${NAME}_${stem} ${NAME} ${dir} ${source} ${stem} ${M_LIBS})
  endforeach()
  foreach(source ${benchs})
    get_filename_component(stem ${source} NAME_WE)
    fr_program(${NAME}_${stem} ${NAME} ${dir} benches SOURCES ${source} LIBS ${M_LIBS})
    set_target_properties(${NAME}_${stem} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  endforeach()
endfunction()
