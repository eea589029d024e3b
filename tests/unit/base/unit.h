/* What every test of base needs: cmocka and the headers it wants before it. */
#ifndef ANG_TEST_BASE_UNIT_H
#define ANG_TEST_BASE_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
