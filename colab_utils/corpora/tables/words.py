"""Emotion words of many languages: to tell what is a label, never to rename one."""

import unicodedata

# Also the common codes' long forms; `MERGE` renames, a list such as this does not: "angst" is fear
# in German and in English something else.
_WORDS = """
anger angry mad rage hot_anger cold_anger annoyed happiness happy joy joyful amused amusement
sadness sad sorrow grief fear fearful afraid scared anxiety anxious panic disgust disgusted neutral
surprise surprised pleasant_surprise calm relaxed boredom bored contempt excited excitement
frustration frustrated pride proud shame despair desperation interest irritation elation relief
sarcasm sarcastic pain other unknown
wut ärger aerger zorn wütend zornig freude glück fröhlich freudig trauer traurig traurigkeit angst
ängstlich ekel angeekelt überraschung ueberraschung überrascht langeweile gelangweilt verachtung
ruhig ruhe
colère colere joie heureux tristesse triste peur dégoût degout dégout neutre surpris ennui mépris
calme colérique
ira enojo enfado rabia alegría alegria felicidad feliz tristeza miedo asco sorpresa aburrimiento
desprecio enojado
rabbia gioia felicità paura disgusto sorpresa neutro neutrale neutralità noia disprezzo calma
tristezza
raiva felicidade medo nojo surpresa tédio desprezo
boosheid boos woede vreugde blijdschap blij verdriet verdrietig droefheid bang walging afkeer
verrassing neutraal verveling
vrede glæde sorg frygt afsky overraskelse ilska glädje rädsla avsky överraskning sinne glede avsmak
viha ilo suru pelko inho yllätys
złość gniew radość smutek strach wstręt zaskoczenie neutralny neutralne
hněv radost smutek strach znechucení překvapení neutrální
düh öröm szomorúság félelem undor meglepetés semleges
kızgın öfke öfkeli mutlu mutluluk üzgün üzüntü korku şaşkın şaşkınlık tiksinti iğrenme nötr sakin
гнев злость радость счастье грусть печаль страх отвращение удивление нейтральный нейтрально
нейтральная скука презрение спокойствие
θυμός χαρά λύπη φόβος αηδία έκπληξη ουδέτερο ουδέτερη
غضب غاضب فرح سعادة سعيد حزن حزين خوف اشمئزاز قرف مفاجأة دهشة محايد عادي هدوء
خشم عصبانیت شادی خوشحالی غم ناراحتی ترس نفرت تعجب خنثی
כעס שמחה עצב פחד גועל הפתעה ניטרלי
क्रोध गुस्सा खुशी दुख उदासी डर भय घृणा आश्चर्य तटस्थ
রাগ রাগান্বিত সুখ খুশি দুঃখ ভয় ঘৃণা বিস্ময় নিরপেক্ষ
生气 愤怒 高兴 快乐 开心 喜悦 悲伤 难过 伤心 害怕 恐惧 厌恶 惊讶 惊喜 中性 平静 无聊
生氣 憤怒 高興 快樂 開心 喜悅 悲傷 難過 傷心 恐懼 厭惡 驚訝 驚喜 平靜 無聊
怒り 喜び 悲しみ 恐れ 恐怖 嫌悪 驚き 中立 平常 平静 楽しい 嬉しい 悲しい
분노 화남 기쁨 행복 슬픔 공포 두려움 혐오 놀람 중립 평온 지루함
giận_dữ tức_giận vui_vẻ hạnh_phúc buồn sợ_hãi ghê_tởm ngạc_nhiên trung_tính
marah senang bahagia sedih takut jijik terkejut netral
"""


def folded(word: str) -> str:
    """A word as it is compared: NFC, small letters, one blank for what stands between words."""
    text = unicodedata.normalize("NFC", word).casefold()
    return " ".join(text.replace("_", " ").replace("-", " ").split())


EMOTION_WORDS = frozenset(map(folded, _WORDS.split()))
