# SPDX-License-Identifier: MIT OR Apache-2.0
# Build knobs, in one place: the presets set them, nothing else does.
option(FR_LTO "link-time optimisation" OFF)
option(FR_FUZZ "build the libFuzzer targets (clang only)" OFF)
option(FR_REPO_DISK "repositories may spill to disk; OFF leaves that code out" ON)
set(FR_SANITIZE "" CACHE STRING "value for -fsanitize, e.g. address,undefined or thread")
set(FR_CORPUS "${CMAKE_SOURCE_DIR}/../shared/data" CACHE PATH
    "real data for tests labelled corpus; they say SKIPPED where it is absent")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# Assertions stay on in every build: a daemon that goes on with broken state costs more than a compare.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g")

add_compile_options(-Wall -Wextra -Werror -Wshadow -Wvla -Wpointer-arith -Wformat=2 -fno-strict-aliasing
                    -fno-omit-frame-pointer)
add_compile_options($<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
                    $<$<COMPILE_LANGUAGE:C>:-Wold-style-definition>)
# The same objects go into the command and the shared library. Hidden names let the compiler inline and call our own
# functions directly in position-independent code; freshet.h marks what the library shows.
add_compile_options(-fvisibility=hidden)
# An error's `file` is a path inside this tree, not one of the building machine.
add_compile_options(-fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64")
  add_compile_options(-march=x86-64-v2)
endif()
if(FR_SANITIZE)
  add_compile_options(-fsanitize=${FR_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${FR_SANITIZE})
  if(FR_SANITIZE MATCHES "undefined" AND CMAKE_C_COMPILER_ID MATCHES "Clang")
    # An empty slice is {NULL, 0}, and its end is NULL + 0: C++ and the next C define that, gcc lets it pass, and
    # clang has no finer switch. An address that really leaves its object is AddressSanitizer's to find.
    add_compile_options(-fno-sanitize=pointer-overflow)
  endif()
endif()
if(FR_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "FR_FUZZ needs clang: cmake --preset fuzz")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(FR_LTO)
  # Spelled out instead of INTERPROCEDURAL_OPTIMIZATION: CMake asks gcc for slim objects, and an installed
  # libfreshet.a made of those links with this very compiler only.
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-flto=auto -ffat-lto-objects)
    add_link_options(-flto=auto)
    set(CMAKE_AR ${CMAKE_C_COMPILER_AR})
    set(CMAKE_RANLIB ${CMAKE_C_COMPILER_RANLIB})
  else()
    add_compile_options(-flto=thin)
    add_link_options(-flto=thin -fuse-ld=lld)
  endif()
endif()
add_compile_definitions(_GNU_SOURCE)
