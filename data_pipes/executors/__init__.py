"""Who carries a plan out: DALI, OpenCV threads, or torch on images kept on the device."""
