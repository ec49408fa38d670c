from lungdet.phantom.write import (
    Phantom,
    make_phantom,
    write_luna16_phantoms,
)

__all__ = ['Phantom', 'make_phantom', 'write_luna16_phantoms']
