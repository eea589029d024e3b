# Options, warnings and the three functions every folder uses.
include(CheckCCompilerFlag)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

option(ANG_WERROR "warnings are errors" ON)
option(ANG_DIAGNOSTIC "costly asserts" OFF)
option(ANG_KILL_POINTS "places where tests may kill the process" OFF)
set(ANG_SANITIZE "" CACHE STRING "address or thread")

add_library(ang_flags INTERFACE)
target_include_directories(ang_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/gen)
target_compile_definitions(ang_flags INTERFACE _GNU_SOURCE $<$<BOOL:${ANG_DIAGNOSTIC}>:ANG_DIAGNOSTIC>
  $<$<BOOL:${ANG_KILL_POINTS}>:ANG_KILL_POINTS>)
target_compile_options(ang_flags INTERFACE -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wcast-qual
  -Wwrite-strings -Wformat=2 -Wno-unused-parameter -fno-omit-frame-pointer $<$<BOOL:${ANG_WERROR}>:-Werror>)
target_link_libraries(ang_flags INTERFACE Threads::Threads)
if(ANG_SANITIZE STREQUAL "address")
  target_compile_options(ang_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  target_link_options(ang_flags INTERFACE -fsanitize=address,undefined)
elseif(ANG_SANITIZE STREQUAL "thread")
  target_compile_options(ang_flags INTERFACE -fsanitize=thread)
  target_link_options(ang_flags INTERFACE -fsanitize=thread)
elseif(ANG_SANITIZE)
  message(FATAL_ERROR "ANG_SANITIZE is ${ANG_SANITIZE}: expected address or thread")
endif()

# ang_library(NAME SOURCES … DEPS …): one folder, one static library ang_NAME.
function(ang_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_library(ang_${name} STATIC ${A_SOURCES})
  target_link_libraries(ang_${name} PUBLIC ang_flags ${A_DEPS})
endfunction()

# ang_unit_test(NAME SOURCE DEPS …): a cmocka program, run by ctest as NAME with the label `unit` (or LABEL).
function(ang_unit_test name source)
  cmake_parse_arguments(A "" "LABEL" "DEPS" ${ARGN})
  if(NOT A_LABEL)
    set(A_LABEL unit)
  endif()
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE ang_flags ${A_DEPS} PkgConfig::CMOCKA)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${A_LABEL} TIMEOUT 300)
endfunction()
