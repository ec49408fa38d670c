from lungdet.phantom.phantom import Phantom, make_phantom
from lungdet.phantom.write import write_luna16_phantoms

__all__ = ['Phantom', 'make_phantom', 'write_luna16_phantoms']
