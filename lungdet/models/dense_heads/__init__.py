from lungdet.models.dense_heads.rpn_head import RPN3DHead

__all__ = ['RPN3DHead']
