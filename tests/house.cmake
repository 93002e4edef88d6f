# SPDX-License-Identifier: MIT OR Apache-2.0
# Tests of the house itself (house_*.py) and of the whole system: NAME_test.py and NAME_test.sh here are run as they
# are, NAME_test.c is linked with every module. Labels and corpus as for module tests (cmake/module.cmake). All of them
# find in the environment: FRESHET (the command), FR_BUILD and FR_SOURCE (folders), FR_CORPUS. Exit 77 means skipped.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(house_environment "FRESHET=${CMAKE_BINARY_DIR}/freshet;FR_BUILD=${CMAKE_BINARY_DIR};FR_SOURCE=${CMAKE_SOURCE_DIR};\
FR_CORPUS=${FR_CORPUS};PYTHONDONTWRITEBYTECODE=1;FR_SANITIZE=${FR_SANITIZE}")

file(GLOB scripts CONFIGURE_DEPENDS tests/house_*.py tests/*_test.py tests/*_test.sh)
foreach(script ${scripts})
  get_filename_component(name ${script} NAME_WE)
  if(script MATCHES "\\.py$")
    add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} -B ${script} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  else()
    add_test(NAME ${name} COMMAND bash ${script} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  endif()
  fr_test_properties(${name})
  set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT ${house_environment})
  if(name MATCHES "^house_")
    set_property(TEST ${name} APPEND PROPERTY LABELS house)
  endif()
endforeach()

get_property(modules GLOBAL PROPERTY FR_MODULES)
get_property(libraries GLOBAL PROPERTY FR_LIBRARIES)
file(GLOB programs CONFIGURE_DEPENDS tests/*_test.c)
foreach(source ${programs})
  get_filename_component(stem ${source} NAME_WE)
  add_executable(system_${stem} ${source})
  target_link_libraries(system_${stem} PRIVATE ${modules} ${libraries} PkgConfig::cmocka Threads::Threads m)
  target_compile_definitions(system_${stem} PRIVATE FR_CORPUS="${FR_CORPUS}")
  add_dependencies(tests system_${stem})
  add_test(NAME system_${stem} COMMAND system_${stem} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  fr_test_properties(system_${stem})
  set_property(TEST system_${stem} APPEND PROPERTY ENVIRONMENT ${house_environment})
endforeach()

# Our side of tests/peers, where other people's implementations judge and are judged.
add_executable(peer_ours tests/peers/ours.c)
target_link_libraries(peer_ours PRIVATE fr_repo ${libraries} Threads::Threads m)
add_dependencies(tests peer_ours)

# Files that pin the log's format lie beside the code that reads them.
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/log/golden_test.c PROPERTIES
  COMPILE_DEFINITIONS FR_GOLDEN="${CMAKE_SOURCE_DIR}/src/log/golden")

# What FR_REPO_DISK=OFF builds: the same sources and tests without the code that spills.
if(FR_REPO_DISK)
  get_target_property(sources fr_repo SOURCES)
  set(dir ${CMAKE_SOURCE_DIR}/src/repo)
  fr_library(repo_no_disk ${dir} SOURCES ${sources} DEPS base os codec atproto LIBS PkgConfig::crypto)
  target_compile_definitions(fr_repo_no_disk PRIVATE FR_REPO_DISK=0)
  foreach(stem load_early_test load_corpus_test drive_test)
    fr_program(repo_no_disk_${stem} repo_no_disk ${dir} tests SOURCES ${dir}/${stem}.c LIBS PkgConfig::cmocka)
    target_include_directories(repo_no_disk_${stem} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support)
    add_test(NAME repo_no_disk_${stem} COMMAND repo_no_disk_${stem})
    fr_test_properties(repo_no_disk_${stem})
  endforeach()
endif()
