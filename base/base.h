/* base: what every other folder may use.  One include for the small headers that nearly every file needs. */
#ifndef ANG_BASE_H
#define ANG_BASE_H

#include "base/assert.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/slice.h"

#endif
