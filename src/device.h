/* device.h - the registry's inner side. */
#ifndef FASC_DEVICE_H
#define FASC_DEVICE_H

#include "backend.h"

/* The backend "cpu" or "cuda", opening the plugin where needed; no device is touched.
 * FASC_ENODEVICE with the reason when it cannot be had. */
fasc_status fasc_backend_find(const char *name, const fasc_backend **backend);

#endif
