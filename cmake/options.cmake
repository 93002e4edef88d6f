# SPDX-License-Identifier: MIT OR Apache-2.0
# Build knobs, in one place: the presets set them, nothing else does.
option(FR_LTO "link-time optimisation" OFF)
option(FR_FUZZ "build the libFuzzer targets (clang only)" OFF)
set(FR_SANITIZE "" CACHE STRING "value for -fsanitize, e.g. address,undefined or thread")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")

add_compile_options(-Wall -Wextra -Werror -Wshadow -Wvla -Wpointer-arith -Wformat=2 -fno-strict-aliasing
                    -fno-omit-frame-pointer)
add_compile_options($<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
                    $<$<COMPILE_LANGUAGE:C>:-Wold-style-definition>)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64")
  add_compile_options(-march=x86-64-v2)
endif()
if(FR_SANITIZE)
  add_compile_options(-fsanitize=${FR_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${FR_SANITIZE})
endif()
if(FR_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(FR_LTO)
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
endif()
add_compile_definitions(_GNU_SOURCE)
